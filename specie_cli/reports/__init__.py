"""What `specie report` and `specie statement` are made of."""
