"""Trained models as files for other programs: ONNX and torch.export, and ONNX files as models of this package."""
