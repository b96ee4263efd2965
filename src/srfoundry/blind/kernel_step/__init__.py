"""Training of the learned step to a kernel in a denoising restorer's rounds."""
