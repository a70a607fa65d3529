"""Physics by PyBullet, a module a family."""
