"""What the doctor looks at: machine, data, and one step of training."""
