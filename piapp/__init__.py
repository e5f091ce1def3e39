"""piapp: a camera on the network. Every viewer sees the newest picture and is told how old it is."""

__version__ = "0.1.0"
