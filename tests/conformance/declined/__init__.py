"""Requirements that are not met, or not asked of us, and why; notes on those that are met. A module for each RFC."""
