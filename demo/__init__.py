"""The demo's ingredients: real flights, customers who browse, and faults to switch on."""
