"""`plan`: from names, files and prices to a Plan."""
