"""What piapp costs and how fresh its pictures are, measured beside the least that any sender must do."""
