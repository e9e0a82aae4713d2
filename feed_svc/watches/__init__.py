"""What was watched: recorded once, counted, remembered as history and as what a viewer has seen."""
