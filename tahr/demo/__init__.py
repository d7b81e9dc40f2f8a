"""What `tahr demo` runs: a program that trains a network, as a user of tahr would write it."""
