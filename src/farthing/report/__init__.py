"""Pages and plots of what was predicted and measured."""
