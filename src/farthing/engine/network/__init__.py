"""The one transformer, written over an op set, and the arrays that it reads: packed steps and weights."""
