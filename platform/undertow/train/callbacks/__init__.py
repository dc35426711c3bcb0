"""Lightning callbacks: recording, probing, checkpoints, evaluation at other lengths, progress."""
