"""The language in which classes and messages are declared. Names no XenAPI class, and knows no wire format."""
