"""How unlike its neighbours a position is (D_NSM): what it is, and the ways of computing it."""
