"""Other validators, each with the rules that it can express, in its fastest way that shows rows."""
