"""Use a trained model: load, sample, translate, edit."""
