"""Music: a few notes in, a piece out."""
