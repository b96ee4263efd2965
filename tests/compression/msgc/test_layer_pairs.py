"""Pairs of makers and a reader name layers that there are."""

from benchmarks._classifiers import MobileNetV2, ResNet
from srfoundry.compression.msgc.layer_pairs import LayerPair


def test_pairs_name_what_there_is() -> None:
    for net in (ResNet(stages=(1, 1)), MobileNetV2()):
        for pair in net.layer_pairs():
            assert isinstance(pair, LayerPair)
            for name in (pair.reader, *pair.makers, *pair.norms, pair.block):
                net.get_submodule(name)
