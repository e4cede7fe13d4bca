"""The names of the ways to merge models; what each does is in algebra.py, which loads torch."""

from typing import Literal

Method = Literal["linear", "slerp", "task", "ties", "dare", "dare-ties", "model-stock"]
