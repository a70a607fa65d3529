"""Ways not to forget: callbacks for any DQN of SB3's and, where it makes sense, PPO, a file each."""
