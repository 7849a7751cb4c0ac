"""What every application shares: recurrent cells, the loop over time, training, export.

Nothing here knows of any application; the arrows point inwards.
"""
