"""Networks: test bench, transcript, regression and campaign."""
