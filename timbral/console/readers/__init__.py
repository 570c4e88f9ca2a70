"""What a screen shows, read in bounded parts: nothing here reads all models, all jobs or all users."""
