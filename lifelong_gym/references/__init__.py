"""What a family's best policy and doing nothing are worth, and how much there is to gain."""
