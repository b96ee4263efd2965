"""The configuration is read by protobuf under Triton's field names and types, and says what the file says."""

import dataclasses
from pathlib import Path
from typing import Any

import onnxruntime
import pytest
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory, text_format

from srfoundry.core.errors import FoundryError
from srfoundry.deployment.foreign import conversion, triton_repository
from srfoundry.runtime.session import Session
from tests import tiny

KINDS = {"string": 9, "int32": 5, "int64": 3, "uint32": 13, "uint64": 4, "bool": 8}
# The part of Triton's model_config.proto that is used: fields, * repeated, with their types
SCHEMA = {
    "ModelConfig": "name:string backend:string max_batch_size:int32 *input:ModelInput *output:ModelOutput "
    "version_policy:Policy dynamic_batching:Batching *instance_group:Group *model_warmup:Warmup *parameters:Parameter",
    "ModelInput": "name:string data_type:DataType *dims:int64",
    "ModelOutput": "name:string data_type:DataType *dims:int64",
    "Policy": "latest:Latest",
    "Latest": "num_versions:uint32",
    "Batching": "*preferred_batch_size:int32 max_queue_delay_microseconds:uint64",
    "Group": "name:string count:int32 kind:Kind *gpus:int32",
    "Warmup": "name:string batch_size:uint32 *inputs:WarmupEntry",
    "WarmupEntry": "key:string value:WarmupInput",
    "WarmupInput": "data_type:DataType *dims:int64 zero_data:bool random_data:bool",
    "Parameter": "key:string value:ParameterValue",
    "ParameterValue": "string_value:string",
}
CHOICES = {
    "DataType": ["TYPE_INVALID", "TYPE_UINT8", "TYPE_FP16", "TYPE_FP32"],
    "Kind": ["KIND_AUTO", "KIND_GPU", "KIND_CPU", "KIND_MODEL"],
}


def parsed(text: str) -> Any:
    """The configuration; fields and values that Triton does not know are errors."""
    file = descriptor_pb2.FileDescriptorProto(name="model_config.proto", package="triton", syntax="proto3")
    for name, values in CHOICES.items():
        made = file.enum_type.add(name=name)
        for number, value in enumerate(values):
            made.value.add(name=value, number=number)
    for name, fields in SCHEMA.items():
        message = file.message_type.add(name=name)
        for number, field in enumerate(fields.split(), start=1):
            label, kind = field.split(":")
            added: Any = message.field.add(name=label.removeprefix("*"), number=number)
            added.label = 3 if label[0] == "*" else 1
            added.type = KINDS.get(kind, 14 if kind in CHOICES else 11)
            if kind not in KINDS:
                added.type_name = f".triton.{kind}"
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    config = message_factory.GetMessageClass(pool.FindMessageTypeByName("triton.ModelConfig"))
    return text_format.Parse(text, config())


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """The tiny network's exported file."""
    path = tmp_path / "tiny.onnx"
    path.write_bytes(tiny.exported()[0])
    return path


def test_the_repository_is_laid_out_and_batches_change_nothing(model: Path) -> None:
    made = triton_repository.convert(model)
    assert list(made.files) == ["tiny/config.pbtxt", "tiny/1/model.onnx"]
    assert made.files["tiny/1/model.onnx"] == tiny.exported()[0]
    assert made.difference is not None and made.difference < 1e-5


def test_the_configuration_says_what_the_file_says(model: Path) -> None:
    card = Session(model, threads=1, device="cpu").card
    config = parsed(triton_repository.config("tiny", card))
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    for said, real in ((config.input, session.get_inputs()), (config.output, session.get_outputs())):
        assert [each.name for each in said] == [each.name for each in real]
        assert [each.data_type for each in said] == [CHOICES["DataType"].index("TYPE_FP32")] * len(real)
        assert real[0].type == "tensor(float)" and isinstance(real[0].shape[0], str)  # a batch of any size
        # what Triton sets before these is the batch; -1 is any
        assert list(said[0].dims) == [size if isinstance(size, int) else -1 for size in real[0].shape[1:]]
    assert config.name == "tiny" and config.backend == "onnxruntime" and config.max_batch_size == 8
    assert config.version_policy.latest.num_versions == 1 and config.dynamic_batching.max_queue_delay_microseconds > 0
    assert [group.kind for group in config.instance_group] == [CHOICES["Kind"].index("KIND_AUTO")]
    (warm,) = config.model_warmup
    assert warm.inputs[0].key == "low" and list(warm.inputs[0].value.dims) == [3, card.tile, card.tile]


def test_the_warm_up_is_of_a_size_that_the_network_takes() -> None:
    card = dataclasses.replace(tiny.describe(), tile=100, multiple_of=8)
    config = parsed(triton_repository.config("tiny", card))
    assert list(config.model_warmup[0].inputs[0].value.dims) == [3, 96, 96]


@pytest.mark.parametrize("name", ['q"uote', "my model", "é", "-x"])
def test_a_name_that_no_client_can_ask_for_is_refused(name: str, model: Path) -> None:
    other = model.rename(model.with_name(f"{name}.onnx"))
    with pytest.raises(FoundryError, match="rename the file: letters, digits"):
        triton_repository.convert(other)


def test_an_unknown_field_is_an_error() -> None:
    with pytest.raises(text_format.ParseError):
        parsed('name: "tiny" bakend: "onnxruntime"')


def test_another_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FoundryError, match="takes an exported .onnx file"):
        conversion.open_session(tmp_path / "tiny.safetensors")
