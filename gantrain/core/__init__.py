"""What all packages use: errors, console, ranks, random numbers, files and components."""
