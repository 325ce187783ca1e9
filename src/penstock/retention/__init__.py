"""What goes when: the rules, what they are applied to, and the thread of the server that applies them."""
