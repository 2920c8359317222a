"""What similarity costs, and how well it does."""
