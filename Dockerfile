# docker build --tag multilevel-diffusion .                                                              without a GPU
# docker build --tag multilevel-diffusion:cuda --build-arg TORCH=https://pypi.org/simple .               with CUDA
FROM python:3.11-slim
ARG TORCH=https://download.pytorch.org/whl/cpu
WORKDIR /opt/multilevel-diffusion
COPY . .
RUN pip install --no-cache-dir --extra-index-url "$TORCH" --constraint constraints.txt '.[cluster]'
CMD ["mld", "--help"]
