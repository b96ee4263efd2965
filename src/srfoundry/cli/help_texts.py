"""What `srfoundry --help` and `srfoundry COMMAND --help` teach, where a command's own file does not hold it."""

EXAMPLES = """examples:
  srfoundry upscale photo.jpg                          photo_x2.png beside it, with the model in exports/
  srfoundry upscale holiday/ --out large/              a folder, nested ones too
  srfoundry upscale photo.jpg --member photo           the model for damaged photographs, whatever it looks like
  srfoundry upscale photo.jpg --model models:/srfoundry@champion
  srfoundry restore old.png                            unknown blur: kernel found, network adapted to this image
  srfoundry restore old.png --kernel blur.npy --steps 5
  srfoundry degrade sharp.png --width 2.0              make a test case: blurred and half the size
  srfoundry degrade sharp.png --family trajectory --noise 2 --jpeg 80 --scale 4
  srfoundry degrade sharp/ --set div2krk --scale 4     a blind test set of a folder, as the field makes it
  srfoundry compare sharp.png --out before_after.png   what the model gives back of a photograph made small
  srfoundry compare --real album/ --model exports/photo.onnx --beside exports/pruned.onnx   photographs as they are
  srfoundry serve                                      a page and HTTP at http://127.0.0.1:8000/, for this machine
  srfoundry models                                     what is registered, who is champion
  srfoundry register                                   the models in exports/, into a registry that is new
  srfoundry promote models:/srfoundry/1                roll back: the champion is version 1, and stays it
  srfoundry info exports/pruned.onnx                   the card inside a model
  srfoundry web exports/pruned70.onnx                  a page that enlarges in the browser, for any web server
  srfoundry card --out card/                           a folder to publish: the model, its card, figures, a picture
  srfoundry import EDSR_x2.pt --as edsr-x2             published weights as a model of this program
  srfoundry convert exports/pruned.onnx --for ncnn     a model for another program: upscayl, chaiNNer, Triton ...

`srfoundry COMMAND --help` explains each command. Errors are one line and exit 1."""

UPSCALE = """Enlarges an image, or every image below a folder, with a trained model.

Without --model, the member of exports/ that fits each image is taken: photo.onnx, which was trained for what cameras
and the web deliver, where the file or its pixels show a JPEG of quality below 80 (also where it was saved anew), noise
or blur; pruned.onnx, which was trained on clean reductions, otherwise and where there is no photo.onnx. Which one and
why is said. --member photo, clean or pruned50, say, takes that one. --model names another file, a folder of files, or
models:/NAME, whose aliases champion and photo are its members.

An image that is larger than --tile squared is cut into tiles which overlap and are cross-faded, so that memory stays
bounded and no seam shows; they are fitted to the image, so that few pixels are computed twice.
Alpha is enlarged bicubically, grey stays grey, the EXIF orientation is applied; colour profiles, resolution, date,
camera and place are kept. Results that are there already stop it before the work (--overwrite, --skip-existing). Of
several images a bad one is named, the others are done, and the exit status is 1."""

RESTORE = """Restores an image of unknown blur, or every image below a folder, one a core.

What happened to the image is weighed first, and the blur kernel estimated from the image alone, as `estimate` in
params.yaml says: by the method auto, unless that or --method names another (fast for Gaussians, free and unfolded for
blurs of any form). The meta-trained MZSR network then takes a few gradient steps on the image's own reduced copy, made
with that kernel; of a large image on its busiest parts. --model takes another restorer instead, which is conditioned on
both: USRNet (models/nonblind.safetensors), a folder with an unconditional diffusion model of `diffusers`, or the word
dip, a network trained on the image alone (minutes).

Say how the image was made small if you know it: every s-th pixel was kept (--decimation direct), or its pixels are
means around the centres of their blocks (bicubic; area and Lanczos, as in image programs, lie there, too). A soft image
often does not show which. Its result then may lie half a pixel beside its place, which nobody sees who has no original
to lay it over, and costs decibels where there is one.

Written: the restored image, the kernel (NAME_kernel.npy) and a picture of both with the image before and after
(NAME_kernel.png). Printed: how well the result, blurred and reduced again, explains the input, and whether adaptation
had to fall back. Run it in the project's folder, after `make repro`.

An ordinary reduced image, one that is hardly blurred, and strong noise under a model that does not know it would be
made worse: such an image is enlarged by the networks in exports/ or plainly, which is said, and no kernel is written
(with --overwrite a former one is removed).
--force restores it all the same. A kernel that is given is believed, under direct decimation if nothing else is said.
--noise goes to the estimation of the kernel, to USRNet and to diffusion models. Without it these estimate it, but for
the methods dkp and mlmc, which take estimate.noise of params.yaml; the method released knows none. MZSR's network and
dip take none, and are kept from images with more than 1.5 of 255."""

DEGRADE = """Blurs a sharp image with a kernel, reduces it, and adds noise and compression on demand.

Written: the low-resolution image, the kernel (NAME_kernel.npy) and a picture of both beside the original
(NAME_kernel.png). Conventions: mzsr keeps the top-left pixel of each block under a centred kernel; kernelgan (DIV2KRK)
is aligned with MATLAB's bicubic; dkp (FKP) and usrnet wrap at the borders, and dkp truncates to 8 bits. A kernel file
is used as its convention says; --width and --family are put where the convention has its centre, or in the middle with
--decimation bicubic. All kernels are written as correlations, for --kernel of restore.

With --set it makes a test set of a photograph or of a folder, nested ones too, on the grid of MATLAB's bicubic; only
--scale, --seed and --out count then. div2krk: an anisotropic Gaussian for each photograph, every tap multiplied by
noise (KernelGAN). photographs: two rounds of blur, resizing, noise and JPEG (Real-ESRGAN). FOLDER_SET_xSCALE/ then has
high/, bicubic/, SET/, the kernels in SET_kernels/, and SET.json with the seed and all that was drawn. The factory makes
the same of its held-out photographs in data/synthesize/held_out."""

REGISTER = """Registers pruned.onnx, pruned50.onnx, pruned70.onnx, photo.onnx and photo50.onnx in the MLflow registry at
MLFLOW_TRACKING_URI.

The stage `export` does this by itself; this is for a registry that is new or did not answer then. The same file is one
version, however often it is registered. An alias (champion, p50, p70; photo, photo50) moves only to a model that is
above bicubic and better than its holder on the same held-out photographs (damaged ones for the latter two) by
`export.least_gain` dB, or as good with less time or size; a
holder that was scored on other photographs is scored on the present ones first, if data/synthesize is here."""

PROMOTE = """Points an alias of a registered model to a version: a rollback, or a challenger that you prefer.

fp16 and int8 (p50_int8 ...) follow where the version has files of fewer bits that were made of it. What the alias is
taken from is withdrawn: `register` and the stage `export` do not give it back to that file, even under a new version,
until you promote it again. A model that is new competes with the version that you chose, as ever. An alias that you
move or delete in MLflow's page, or a version that you delete, counts as much."""

INFO = """Prints a model's card, which every model carries within: JSON, for a person or for jq.

It says which network it is (arch) and how large it was before compression, what it was trained for, its figures on the
held-out photographs (metrics; psnr_y in dB, gain_db over bicubic enlargement), by which data and parameters it was made
(data_hash, params_hash), and for an .onnx file how it is best run: tile and overlap, in input pixels.

MODEL is a file of exports/ or models/, or a registered one: models:/srfoundry@champion, models:/srfoundry/3."""

MODELS = """Lists what is registered at MLFLOW_TRACKING_URI, else in mlflow.db here: a line a version, newest first.

aliases: by which a version is pulled (upscale --model models:/NAME@ALIAS); champion is the best on clean reductions,
p50 and p70 its smaller members, photo and photo50 those for photographs from cameras and the web, int8 and fp16 the
champion in fewer bits. figure: what decided, on the held-out photographs (in brackets which set of them, if it is not
the bicubic one). Versions of other test sets are not comparable."""

IMPORT = """Makes a model of this program from the weights that a network's authors published.

FILE is a state dict (.pt, .pth) or .safetensors in the authors' layout; nothing but tensors is read from it. The
network then takes and gives images in [0, 1], whatever range it was trained on, and works with `upscale --model` (dual
nets make images smaller: they are for training). A
pruned DRN or SwinIR of the same layout is recognised by its shapes.

names: """
