"""What arrived: the account of series by absolute ids. Pure: no clock, no socket."""
