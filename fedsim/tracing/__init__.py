"""Layer traces from real models on fake tensors: what a training step costs, layer by layer.

With ``learning`` the only room that imports torch, and only in its modules, never here.
"""
