"""Speech: from a waveform to text."""
