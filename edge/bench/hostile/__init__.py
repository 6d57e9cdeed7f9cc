"""`edge bench hostile`: what strangers may do to every listening port of a running system."""
