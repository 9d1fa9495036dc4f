"""What `specie audit` is made of."""
