"""Flags of pytorch-CycleGAN-and-pix2pix and of CUT's code, and what they are called here."""

LEAVE_OUT = "leave it out"
NO_FLAG = "no such flag"

REFERENCE_FLAGS = {
    # data
    "--dataroot": "ROOT, the word after the method: translate train METHOD ROOT",
    "--dataset_mode": f"{LEAVE_OUT}: the method decides the layout of ROOT",
    "--phase": f"{LEAVE_OUT}: training reads train, evaluation test",
    "--direction AtoB": "--direction a2b",
    "--direction BtoA": "--direction b2a",
    "--which_direction": "--direction a2b or b2a",
    "--input_nc": "--input-channels",
    "--output_nc": "--output-channels",
    "--batchSize": "--batch-size",
    "--loadSize": "--load-size",
    "--fineSize": "--crop-size",
    "--resize_or_crop": "--preprocess",
    "--no_flip": "--flip off",
    "--serial_batches": f"{LEAVE_OUT}: the order is random, and the same for the same --seed",
    "--num_threads": "--workers, with --loader stream",
    "--nThreads": "--workers, with --loader stream",
    "--max_dataset_size": f"{NO_FLAG}: give a folder with fewer images",
    # networks and losses
    "--model": "METHOD, the word after train: pix2pix or cyclegan",
    "--netG": "--generator, with the same names",
    "--which_model_netG": "--generator, with the same names",
    "--netD": "--discriminator, with the same names",
    "--which_model_netD": "--discriminator, with the same names",
    "--ngf": "--g-width",
    "--ndf": "--d-width",
    "--n_layers_D": "--d-layers, with --discriminator n_layers",
    "--no_dropout": "--dropout off, the default of cyclegan",
    "--init_type": f"{LEAVE_OUT}: weights start as with normal",
    "--init_gain": f"{LEAVE_OUT}: weights start as with 0.02",
    "--gan_mode": "--adversarial lsgan, non-saturating (vanilla) or wgan-gp (wgangp)",
    "--no_lsgan": "--adversarial non-saturating",
    "--lambda_A": "--lambda-cycle, for both directions",
    "--lambda_B": "--lambda-cycle, for both directions",
    "--lambda_L1": "--lambda-l1",
    "--identity": "--lambda-identity",
    # length and rate
    "--n_epochs": "--epochs",
    "--niter": "--epochs",
    "--n_epochs_decay": "--decay-epochs",
    "--niter_decay": "--decay-epochs",
    "--epoch_count": f"{LEAVE_OUT}: the same command again resumes",
    "--continue_train": f"{LEAVE_OUT}: the same command again resumes",
    "--lr_policy": f"{LEAVE_OUT}: the rate falls linearly over --decay-epochs",
    "--lr_decay_iters": f"{LEAVE_OUT}: the rate falls linearly over --decay-epochs",
    "--beta1": f"{LEAVE_OUT}: it is 0.5",
    # runs, logs and devices
    "--name": "--run NAME",
    "--checkpoints_dir": "--run FOLDER",
    "--suffix": "--run NAME",
    "--gpu_ids": "--device cuda:N, or cpu for -1; torchrun for several GPUs",
    "--print_freq": "--log-every, in images",
    "--display_freq": "--sample-every, in images",
    "--save_latest_freq": "--save-every, in images",
    "--save_epoch_freq": "--keep-every, in images",
    "--save_by_iter": f"{LEAVE_OUT}: --save-every and --keep-every count images",
    **dict.fromkeys(
        [
            "--display_id",
            "--display_env",
            "--display_port",
            "--display_server",
            "--display_ncols",
            "--display_winsize",
            "--update_html_freq",
        ],
        f"{LEAVE_OUT}: samples/ in the run folder and TensorBoard show the images",
    ),
    "--no_html": f"{LEAVE_OUT}: no HTML is written during training",
    "--use_wandb": f"{LEAVE_OUT}: curves are in TensorBoard and stats.jsonl",
    "--wandb_project_name": f"{LEAVE_OUT}: curves are in TensorBoard and stats.jsonl",
    "--verbose": f"{LEAVE_OUT}: translate status RUN describes the networks",
    # test.py
    "--epoch": "MODEL, as RUN@IMAGES: translate convert RUN@IMAGES INPUT OUTPUT",
    "--which_epoch": "MODEL, as RUN@IMAGES: translate convert RUN@IMAGES INPUT OUTPUT",
    "--load_iter": "MODEL, as RUN@IMAGES: translate convert RUN@IMAGES INPUT OUTPUT",
    "--model_suffix": "--to b (for _A) or --to a (for _B), of translate convert",
    "--num_test": "--limit, of translate convert",
    "--how_many": "--limit, of translate convert",
    "--results_dir": "OUTPUT: translate convert MODEL INPUT OUTPUT",
    "--aspect_ratio": f"{LEAVE_OUT}: outputs have the size of their inputs",
    "--eval": "--norm-statistics running --dropout off, of translate convert",
    # CUT
    "--CUT_mode": "METHOD, the word after train: cut or fastcut",
    "--lambda_NCE": "--lambda-nce",
    "--lambda_GAN": f"{LEAVE_OUT}: its weight is 1",
    "--nce_idt": "--nce-identity on or off",
    "--nce_T": "--nce-temperature",
    "--num_patches": "--nce-patches",
}
"""Flag there, with its value where that alone differs → what to give here."""

SAME_FLAGS = (
    "--load_size", "--crop_size", "--batch_size", "--preprocess", "--norm", "--lr", "--pool_size", "--lambda_identity",
    "--flip_equivariance",
)  # fmt: skip
"""Flags that are taken as they are there: they have the same name and meaning here."""
