"""Search that minds the hardware: costs as losses, multipliers and constraints."""
