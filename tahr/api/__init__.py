"""The namespaces below `tf`: names, no logic."""
