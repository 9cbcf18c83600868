"""Search for text that imitates other text: letters, hosts, digits and characters that cannot be seen."""
