"""What was seen: images as users have them, checked, cropped and resampled."""
