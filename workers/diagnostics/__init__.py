"""What is measured on rows and latents."""
