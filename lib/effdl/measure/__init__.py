"""What a model costs: parameters, multiply-adds, bytes, memory and time."""
