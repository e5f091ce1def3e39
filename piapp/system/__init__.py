"""What piapp has to do with the computer that it runs on."""
