"""Configuration: what a file may say (`schema`), how it is read (`load`), how mistakes are told (`explain`)."""
