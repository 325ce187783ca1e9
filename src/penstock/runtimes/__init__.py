"""The walls around the program: one interface, several ways to build them."""
