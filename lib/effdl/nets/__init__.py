"""Networks of section 2, each in the size of its paper and in a small one."""
