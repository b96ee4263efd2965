"""What everything stands on: errors, progress, parallel work, seeds, atomic files."""
