"""From a Program to a Plan: an order, storage from liveness, and the chain of stages that a run goes through."""
