# docker build --tag multilevel-diffusion .                                 without a GPU
# docker build --tag multilevel-diffusion:cuda --build-arg INDEX= .         with CUDA
FROM python:3.11-slim
ARG INDEX="--extra-index-url https://download.pytorch.org/whl/cpu"
WORKDIR /opt/multilevel-diffusion
COPY . .
RUN pip install --no-cache-dir $INDEX --constraint constraints.txt '.[cluster]'
CMD ["mld", "--help"]
