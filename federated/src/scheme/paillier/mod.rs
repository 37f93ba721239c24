//! Threshold Paillier under a dealer's key.
