"""Operations on tensors that PyTorch has no fast version of."""
